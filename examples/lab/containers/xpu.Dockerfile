# IMAGE: Intel's with oneAPI and Python, such as intel/deep-learning-essentials:TAG
# The context is this folder, with the wheel of `tox -e dist` in it.
ARG IMAGE
FROM ${IMAGE}
RUN python -m pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/xpu
COPY install.sh alignmeter-*.whl /opt/alignmeter/
RUN sh /opt/alignmeter/install.sh '[qlora]'
ENTRYPOINT ["alignmeter"]
